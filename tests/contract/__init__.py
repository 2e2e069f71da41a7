"""One set of cases for each port that has a fake: the fake and the real thing answer alike."""
