"""What is known of every scrip before it trades: the master, the last bhavcopy, the indices."""
