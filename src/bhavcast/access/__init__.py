"""Who may come in, as whom, and how often: keys, sessions, allowances, and the record of what operators did."""
