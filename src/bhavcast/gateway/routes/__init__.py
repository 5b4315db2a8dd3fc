"""What is served besides the hot two's fast way: a file for each subject of /openapi.json."""
