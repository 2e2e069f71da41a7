"""What images hold: reading, checking and finishing them, as layouts or at a registry. Moves no tag."""
