"""What can be set: name, type, unit, bounds, default and help of each setting, and where its value came from.

`model` says what there is, `load` reads it (defaults, config/configuration.py, environment) and `describe` puts it
into words for errors, the command line and the reference page. Nothing else of mulligan is imported here but values
of the core.
"""
