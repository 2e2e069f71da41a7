"""One directory for each package of `builder`: no process is started and no network reached."""
