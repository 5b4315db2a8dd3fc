"""The record of every batch that moved the board, from which the board can be rebuilt."""
