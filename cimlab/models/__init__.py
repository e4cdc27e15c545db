"""The networks: plain `nn.Module`s, one file a family, that know nothing of crossbars or pruning."""
