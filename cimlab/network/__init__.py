"""What a network is, read without computing with it: its stored weights, its masks, and its state on loan.

Knows no crossbars.
"""
