"""BibTeX entries of the papers behind the methods."""

from typing import NamedTuple


class Paper(NamedTuple):
    """The paper that introduced a method."""

    key: str
    title: str
    authors: str  # in BibTeX's format
    venue: str  # proceedings, or "arXiv:..."
    year: int

    def bibtex(self) -> str:
        """Return the BibTeX entry."""
        preprint = self.venue.startswith("arXiv:")
        kind, venue_field = ("misc", "note") if preprint else ("inproceedings", "booktitle")
        fields = {
            "title": self.title,
            "author": self.authors,
            venue_field: self.venue,
            "year": str(self.year),
        }
        lines = [f"  {name:<9} = {{{value}}}," for name, value in fields.items()]
        return "\n".join([f"@{kind}{{{self.key},", *lines, "}"])


# Keyed by the name of the method's file in `objectives/`.
PAPERS = {
    "barlow_twins": Paper(
        "zbontar2021barlow",
        "Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
        "Zbontar, Jure and Jing, Li and Misra, Ishan and LeCun, Yann and Deny, St{\\'e}phane",
        "International Conference on Machine Learning",
        2021,
    ),
    "vicreg": Paper(
        "bardes2022vicreg",
        "{VICReg}: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
        "Bardes, Adrien and Ponce, Jean and LeCun, Yann",
        "International Conference on Learning Representations",
        2022,
    ),
    "w_mse": Paper(
        "ermolov2021whitening",
        "Whitening for Self-Supervised Representation Learning",
        "Ermolov, Aleksandr and Siarohin, Aliaksandr and Sangineto, Enver and Sebe, Nicu",
        "International Conference on Machine Learning",
        2021,
    ),
    "simclr": Paper(
        "chen2020simple",
        "A Simple Framework for Contrastive Learning of Visual Representations",
        "Chen, Ting and Kornblith, Simon and Norouzi, Mohammad and Hinton, Geoffrey",
        "International Conference on Machine Learning",
        2020,
    ),
    "byol": Paper(
        "grill2020bootstrap",
        "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning",
        "Grill, Jean-Bastien and Strub, Florian and Altch{\\'e}, Florent and Tallec, Corentin and "
        "Richemond, Pierre H. and Buchatskaya, Elena and Doersch, Carl and Avila Pires, Bernardo and "
        "Guo, Zhaohan Daniel and Gheshlaghi Azar, Mohammad and Piot, Bilal and Kavukcuoglu, Koray and "
        "Munos, R{\\'e}mi and Valko, Michal",
        "Advances in Neural Information Processing Systems",
        2020,
    ),
    "simsiam": Paper(
        "chen2021exploring",
        "Exploring Simple Siamese Representation Learning",
        "Chen, Xinlei and He, Kaiming",
        "IEEE/CVF Conference on Computer Vision and Pattern Recognition",
        2021,
    ),
    "moco": Paper(
        "chen2020improved",
        "Improved Baselines with Momentum Contrastive Learning",
        "Chen, Xinlei and Fan, Haoqi and Girshick, Ross and He, Kaiming",
        "arXiv:2003.04297",
        2020,
    ),
    "swav": Paper(
        "caron2020unsupervised",
        "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
        "Caron, Mathilde and Misra, Ishan and Mairal, Julien and Goyal, Priya and Bojanowski, Piotr and "
        "Joulin, Armand",
        "Advances in Neural Information Processing Systems",
        2020,
    ),
}
