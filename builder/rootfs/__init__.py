"""Makes root file systems of packages, and accounts, without running anything of them."""
