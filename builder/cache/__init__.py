"""What is kept between runs: where it lies, how much it is, when it was used last, and what of it goes."""
