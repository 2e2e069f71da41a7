"""Says of each thing in an image which line, setting or rule it comes from. Looks nothing up; reads no registry."""
