"""What ties the rooms together: the steps train, compile, check, simulate and measure, and what is built of them."""
