"""CIFAR-100: a hundred classes of 32 x 32 colour photographs, 500 training images each (Krizhevsky, 2009)."""

from cimlab.data.cifar import Cifar


class Cifar100(Cifar):
    """50000 training and 10000 test images of a hundred (fine) classes."""

    dataset = "CIFAR100"
    num_classes = 100
    # over the pixels of the 50000 training images, the values in common use
    mean = (0.5071, 0.4865, 0.4409)
    std = (0.2673, 0.2564, 0.2762)
