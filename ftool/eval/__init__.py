"""`ftool eval`: run or model + split -> Report."""
