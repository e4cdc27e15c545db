"""ADC ranges, one file each: how the range of a converter is chosen."""
