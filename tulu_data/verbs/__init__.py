"""The verbs of the command line, a few lines each: parse, call the function of the same name, print."""
