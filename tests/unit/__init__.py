"""Tests of one room, without sockets."""
