"""Judge every tick before it may move the board, and put the bad ones aside."""
