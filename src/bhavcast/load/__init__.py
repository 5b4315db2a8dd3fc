"""Load a running service and weigh what it costs: used by the benchmarks, `bhavcast bench` and `bhavcast capacity`.

Two generators, `http_load` and `stream_load`, run as processes of their own. Each exists twice under one contract: in C,
compiled when first needed, and in Python for machines without a compiler (it loads far less). `generator` runs them.
"""
