"""What the arrays' work costs: exact action counts x a technology's published numbers.

Energy, latency, area, leakage and throughput by layer and component. Knows crossbars, but not how masks came to be.
"""
