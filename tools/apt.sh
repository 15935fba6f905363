# Sourced by the tools that install Debian's packages: what they have in common. Needs bash, and `name` to be set: what
# the words begin with.

say() { printf '%s: %s\n' "$name" "$*" >&2; }

# Sets as_root to what makes a command run as root. Says why and fails where there is no apt-get or no right to use it.
can_install() {
    as_root=()
    command -v apt-get >/dev/null || { say "there is no apt-get here." && return 1; }
    [ "$(id -u)" -ne 0 ] || return 0
    { command -v sudo >/dev/null && sudo -n true 2>/dev/null; } ||
        { say "you are not root, and sudo asks for a password." && return 1; }
    as_root=(sudo)
}

# Installs packages (options of apt-get may be among them); its words are shown only if it fails twice.
apt_install() {
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@")
    say "installing $* with apt-get"
    # a new machine has no package lists, an old one has links to packages that are gone
    "${as_root[@]}" "${install[@]}" >/dev/null 2>&1 ||
        { "${as_root[@]}" apt-get update -q >&2 && "${as_root[@]}" "${install[@]}" >&2; } ||
        { say "apt-get could not install $*; its words are above." && return 1; }
}
