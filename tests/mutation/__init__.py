"""Each safety line of the source is removed in turn; simulation or tests have to notice."""
