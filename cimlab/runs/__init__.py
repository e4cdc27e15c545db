"""One run or one question, without the command line: train, price, simulate."""
