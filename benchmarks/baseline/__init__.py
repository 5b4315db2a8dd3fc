"""What Bhavcast is compared with: the least that C can do, and the stack that the maintenance guide names."""
