"""Results that papers report, in percent. Comments name the sources; None = not reported."""

from typing import NamedTuple


class Accuracy(NamedTuple):
    """Top-1 and top-5 accuracy of one classifier, in percent."""

    top1: float | None = None
    top5: float | None = None


# Linear probe on ImageNet, ResNet-50 (Barlow Twins, table 1; VICReg, table 1).
LINEAR = {
    "Supervised": Accuracy(76.5),
    "MoCo": Accuracy(60.6),
    "PIRL": Accuracy(63.6),
    "SimCLR": Accuracy(69.3, 89.0),
    "MoCo v2": Accuracy(71.1, 90.1),
    "SimSiam": Accuracy(71.3),
    "SwAV (2 crops)": Accuracy(71.8),
    "SwAV": Accuracy(75.3),
    "BYOL": Accuracy(74.3, 91.6),
    "Barlow Twins": Accuracy(73.2, 91.0),
    "VICReg": Accuracy(73.2, 91.1),
}

# Fine-tuned on 1 % and 10 % of ImageNet's labels (Barlow Twins, table 2; VICReg, table 1).
SEMI_SUPERVISED = {
    "Supervised": {0.01: Accuracy(25.4, 48.4), 0.1: Accuracy(56.4, 80.4)},
    "PIRL": {0.01: Accuracy(None, 57.2), 0.1: Accuracy(None, 83.8)},
    "SimCLR": {0.01: Accuracy(48.3, 75.5), 0.1: Accuracy(65.6, 87.8)},
    "BYOL": {0.01: Accuracy(53.2, 78.4), 0.1: Accuracy(68.8, 89.0)},
    "SwAV": {0.01: Accuracy(53.9, 78.5), 0.1: Accuracy(70.2, 89.9)},
    "Barlow Twins": {0.01: Accuracy(55.0, 79.2), 0.1: Accuracy(69.7, 89.3)},
    "VICReg": {0.01: Accuracy(54.8, 79.4), 0.1: Accuracy(69.5, 89.5)},
}

# Classifiers on the frozen encoder (Barlow Twins, table 3; VICReg, table 2): top-1; VOC07: mAP.
TRANSFER = {
    "Supervised": {"places205": 53.2, "voc07": 87.5, "inat18": 46.7},
    "SimCLR": {"places205": 52.5, "voc07": 85.5, "inat18": 37.2},
    "MoCo v2": {"places205": 51.8, "voc07": 86.4, "inat18": 38.6},
    "SwAV (2 crops)": {"places205": 52.8, "voc07": 86.4, "inat18": 39.5},
    "SwAV": {"places205": 56.7, "voc07": 88.9, "inat18": 48.6},
    "BYOL": {"places205": 54.0, "voc07": 86.6, "inat18": 47.6},
    "Barlow Twins": {"places205": 54.1, "voc07": 86.2, "inat18": 46.5},
    "VICReg": {"places205": 54.3, "voc07": 86.6, "inat18": 47.0},
}

# Linear probe with a ResNet-18 on small data sets: solo-learn's online probe after 1000 epochs; W-MSE: the
# paper's table, W-MSE 2.
SMALL_LINEAR = {
    "cifar10": {"SimCLR": 90.74, "BYOL": 92.58, "Barlow Twins": 92.10, "VICReg": 92.07, "W-MSE": 91.55},
    "cifar100": {"SimCLR": 66.83, "BYOL": 66.60, "Barlow Twins": 70.90, "W-MSE": 66.10},
    "stl10": {"W-MSE": 90.36},
}
# Euclidean 5-NN on unnormalized features (W-MSE's table, W-MSE 2).
SMALL_EUCLIDEAN5 = {
    "cifar10": {"SimCLR": 88.42, "BYOL": 89.45, "W-MSE": 89.69},
    "cifar100": {"SimCLR": 56.56, "BYOL": 56.82, "W-MSE": 56.69},
    "stl10": {"W-MSE": 87.10},
}
# Weighted cosine k-NN with k = 200 after 200 epochs (lightly's benchmark).
SMALL_KNN200 = {"cifar10": {"Barlow Twins": 84.2}}

# Baseline of the ablations: ResNet-50, 300 epochs, linear probe (Barlow Twins, section 4).
ABLATION_BASELINE = Accuracy(71.4, 90.2)

# R@1, 5, 10 on the 5 000 test images of COCO captions, ResNet-152 and GRU (VICReg, table 3). The column heads
# of that table are swapped: its row of VSE++ is that paper's own (Faghri et al. 2018, table 1), where 41.3 is
# caption retrieval, from an image to its five correct texts.
RETRIEVAL = {
    "VSE++": {
        "image_to_text": {1: 41.3, 5: 71.1, 10: 81.2},
        "text_to_image": {1: 30.3, 5: 59.4, 10: 72.4},
    },
    "Barlow Twins": {
        "image_to_text": {1: 42.9, 5: 74.0, 10: 83.5},
        "text_to_image": {1: 31.4, 5: 60.4, 10: 75.1},
    },
    "VICReg": {
        "image_to_text": {1: 45.2, 5: 76.1, 10: 84.2},
        "text_to_image": {1: 33.6, 5: 62.7, 10: 77.9},
    },
}
