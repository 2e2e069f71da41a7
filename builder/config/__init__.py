"""What the user asks for: flags, variables and the project file, merged into one request. Looks nothing up."""
