"""The command line: options, commands, and how plans, progress and reports are shown. Decides nothing about images."""
