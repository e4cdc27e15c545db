"""One file a saliency: how much a unit matters."""
