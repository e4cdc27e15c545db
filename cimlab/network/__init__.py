"""What a network is: what it multiplies, by operation; its stored weights, its masks, and its state on loan.

Knows no crossbars.
"""
