"""Results that papers report, in percent. Comments name the sources; None = not reported."""

from typing import NamedTuple


class Accuracy(NamedTuple):
    """Top-1 and top-5 accuracy of one classifier, in percent."""

    top1: float | None = None
    top5: float | None = None


# Linear probe on ImageNet, ResNet-50 (Barlow Twins, table 1; VICReg, table 1, where CPC v2 is a ResNet-161).
LINEAR = {
    "Supervised": Accuracy(76.5),
    "MoCo": Accuracy(60.6),
    "PIRL": Accuracy(63.6),
    "CPC v2": Accuracy(63.8),
    "CMC": Accuracy(66.2),
    "SimCLR": Accuracy(69.3, 89.0),
    "MoCo v2": Accuracy(71.1, 90.1),
    "SimSiam": Accuracy(71.3),
    "SwAV (2 crops)": Accuracy(71.8),
    "InfoMin Aug": Accuracy(73.0, 91.1),
    "OBoW": Accuracy(73.8),
    "SwAV": Accuracy(75.3),
    "BYOL": Accuracy(74.3, 91.6),
    "Barlow Twins": Accuracy(73.2, 91.0),
    "VICReg": Accuracy(73.2, 91.1),
}
# The same of methods that are not in these tables, by their own papers or code, each with its own probe.
OWN_LINEAR = {
    "Rotation": Accuracy(48.2),  # VISSL, 105 epochs
    "Jigsaw": Accuracy(46.73),  # VISSL, 2000 permutations, 105 epochs
    "NPID": Accuracy(58.5),  # 65 536 negatives, 200 epochs
    "PCL v2": Accuracy(67.6),  # 200 epochs
    "W-MSE 4": Accuracy(72.56),  # 400 epochs
    "SeLa-v2": Accuracy(71.8),  # SwAV's code, multi-crop
    "DeepCluster-v2": Accuracy(75.2),  # SwAV's code, multi-crop, 800 epochs
    "Mixed Barlow Twins": Accuracy(72.2),  # 300 epochs; Barlow Twins there: 71.3
}

# Fine-tuned on 1 % and 10 % of ImageNet's labels (Barlow Twins, table 2; VICReg, table 1).
SEMI_SUPERVISED = {
    "Supervised": {0.01: Accuracy(25.4, 48.4), 0.1: Accuracy(56.4, 80.4)},
    "PIRL": {0.01: Accuracy(None, 57.2), 0.1: Accuracy(None, 83.8)},
    "SimCLR": {0.01: Accuracy(48.3, 75.5), 0.1: Accuracy(65.6, 87.8)},
    "BYOL": {0.01: Accuracy(53.2, 78.4), 0.1: Accuracy(68.8, 89.0)},
    "SwAV": {0.01: Accuracy(53.9, 78.5), 0.1: Accuracy(70.2, 89.9)},
    "OBoW": {0.01: Accuracy(None, 82.9), 0.1: Accuracy(None, 90.7)},
    "Barlow Twins": {0.01: Accuracy(55.0, 79.2), 0.1: Accuracy(69.7, 89.3)},
    "VICReg": {0.01: Accuracy(54.8, 79.4), 0.1: Accuracy(69.5, 89.5)},
}

# Classifiers on the frozen encoder (Barlow Twins, table 3; VICReg, table 2): top-1; VOC07: mAP.
TRANSFER = {
    "Supervised": {"places205": 53.2, "voc07": 87.5, "inat18": 46.7},
    "MoCo": {"places205": 46.9, "voc07": 79.8, "inat18": 31.5},
    "PIRL": {"places205": 49.8, "voc07": 81.1, "inat18": 34.1},
    "SimCLR": {"places205": 52.5, "voc07": 85.5, "inat18": 37.2},
    "MoCo v2": {"places205": 51.8, "voc07": 86.4, "inat18": 38.6},
    "SwAV (2 crops)": {"places205": 52.8, "voc07": 86.4, "inat18": 39.5},
    "SwAV": {"places205": 56.7, "voc07": 88.9, "inat18": 48.6},
    "OBoW": {"places205": 56.8, "voc07": 89.3},
    "BYOL": {"places205": 54.0, "voc07": 86.6, "inat18": 47.6},
    "Barlow Twins": {"places205": 54.1, "voc07": 86.2, "inat18": 46.5},
    "VICReg": {"places205": 54.3, "voc07": 86.6, "inat18": 47.0},
}

# Detection and segmentation (Barlow Twins, table 4): Faster R-CNN with C4 on VOC07+12, Mask R-CNN with C4 on
# COCO; AP, AP50 and AP75 of VOC, of COCO's boxes and of its masks.
DETECTION = {
    "Supervised": (53.5, 81.3, 58.8, 38.2, 58.2, 41.2, 33.3, 54.7, 35.2),
    "MoCo v2": (57.4, 82.5, 64.0, 39.3, 58.9, 42.5, 34.4, 55.8, 36.5),
    "SwAV": (56.1, 82.6, 62.7, 38.4, 58.6, 41.3, 33.8, 55.2, 35.9),
    "SimSiam": (57.0, 82.4, 63.7, 39.2, 59.3, 42.1, 34.4, 56.0, 36.7),
    "Barlow Twins": (56.8, 82.6, 63.4, 39.2, 59.0, 42.5, 34.3, 56.0, 36.5),
}
# The same with FPN on COCO (VICReg, table 2): AP50 of VOC, AP of COCO's boxes and of its masks.
DETECTION_FPN = {
    "Supervised": (81.3, 39.0, 35.4),
    "MoCo v2": (82.5, 39.8, 36.1),
    "BYOL": (None, 40.4, 37.0),
    "SwAV": (82.6, 41.6, 37.8),
    "OBoW": (82.9, None, None),
    "Barlow Twins": (82.6, 40.0, 36.7),
    "VICReg": (82.4, 39.4, 36.4),
}

# Linear probe with a ResNet-18 on small data sets, by protocol.
SMALL_LINEAR = {
    # README: 1000 epochs.
    "solo-learn, online": {
        "cifar10": {
            "SimCLR": 90.74,
            "BYOL": 92.58,
            "SwAV": 89.17,
            "DeepCluster-v2": 88.85,
            "VICReg": 92.07,
            "Barlow Twins": 92.10,
        },
        "cifar100": {
            "SimCLR": 65.78,
            "BYOL": 70.46,
            "SwAV": 64.88,
            "DeepCluster-v2": 63.61,
            "VICReg": 68.54,
            "Barlow Twins": 70.90,
        },
    },
    # Its table: 500 epochs of Adam on the features after 1000 epochs, on STL-10 after 2000.
    "W-MSE's paper": {
        "cifar10": {"SimCLR": 91.80, "BYOL": 91.73, "W-MSE 2": 91.55, "W-MSE 4": 91.99},
        "cifar100": {"SimCLR": 66.83, "BYOL": 66.60, "W-MSE 2": 66.10, "W-MSE 4": 67.64},
        "stl10": {"SimCLR": 90.51, "BYOL": 91.99, "W-MSE 2": 90.36, "W-MSE 4": 91.75},
        "tiny_imagenet": {"SimCLR": 48.84, "BYOL": 51.00, "W-MSE 2": 48.20, "W-MSE 4": 49.22},
    },
}
# Euclidean 5-NN on unnormalized features (W-MSE's table).
SMALL_EUCLIDEAN5 = {
    "cifar10": {"SimCLR": 88.42, "BYOL": 89.45, "W-MSE 2": 89.69, "W-MSE 4": 89.87},
    "cifar100": {"SimCLR": 56.56, "BYOL": 56.82, "W-MSE 2": 56.69, "W-MSE 4": 56.45},
    "stl10": {"SimCLR": 85.68, "BYOL": 88.64, "W-MSE 2": 87.10, "W-MSE 4": 88.59},
    "tiny_imagenet": {"SimCLR": 32.86, "BYOL": 36.24, "W-MSE 2": 34.16, "W-MSE 4": 35.44},
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
