"""CIFAR-10: ten classes of 32 x 32 colour photographs (Krizhevsky, 2009); the set of most pruning tables."""

from cimlab.data.cifar import Cifar


class Cifar10(Cifar):
    """50000 training and 10000 test images of ten classes."""

    dataset = "CIFAR10"
    num_classes = 10
    # over the pixels of the 50000 training images, measured with the genuine files
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2470, 0.2435, 0.2616)
