"""Write keys, shapes and features of small models of timm, with the weights of `weights`, to a file .npz.

`tests/interop/timm_features.npz` was written by timm 1.0.31. Needs the extra `interop`.
"""

from functools import partial
import json
import sys

import numpy as np
from timm.layers import SwiGLUPacked
from timm.models.convnext import ConvNeXt
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
import torch

norm5 = partial(torch.nn.LayerNorm, eps=1e-5)
vit = dict(
    img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=2, num_classes=0, dynamic_img_size=True
)
eva = vit | dict(
    init_values=1e-5,
    rope_type="dinov3",
    rope_temperature=100,
    rope_rotate_half=True,
    use_rot_pos_emb=True,
    use_abs_pos_emb=False,
    num_reg_tokens=4,
    use_fc_norm=False,
    norm_layer=norm5,
)
conv = dict(depths=(1, 2, 1, 1), dims=(8, 16, 24, 32), num_classes=0, conv_mlp=True)
MODELS = {
    "registers": VisionTransformer(**vit, init_values=1e-5, reg_tokens=4, no_embed_class=True),
    "swiglu": VisionTransformer(
        **vit, init_values=1e-5, mlp_ratio=4, mlp_layer=SwiGLUPacked, act_layer=torch.nn.SiLU
    ),
    "clip": VisionTransformer(**vit, pre_norm=True, norm_layer=norm5, act_layer="quick_gelu"),
    "fc_norm": VisionTransformer(**vit, global_pool="avg"),
    "rotary": Eva(**eva, qkv_bias=True),
    "rotary_swiglu": Eva(**eva, qkv_bias=False, swiglu_mlp=True, swiglu_align_to=8, mlp_ratio=4),
    "convnext": ConvNeXt(**conv),
    "convnextv2": ConvNeXt(**conv, use_grn=True, ls_init_value=None),
}


def weights(shapes):
    rng = np.random.default_rng(0)
    return {
        k: (rng.normal(size=s) * 0.3 + (len(s) == 1 and k.endswith(("weight", "gamma", "_1", "_2")))).astype(
            np.float32
        )
        for k, s in sorted(shapes.items())
    }


out = {}
for name, model in MODELS.items():
    model.eval()
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    model.load_state_dict({k: torch.from_numpy(v) for k, v in weights(shapes).items()})
    out[f"{name}.keys"] = json.dumps({k: list(v) for k, v in shapes.items()})
    for size in ((16, 16), (20, 24)) if "convnext" not in name else ((32, 32), (48, 64)):
        images = np.random.default_rng(1).normal(size=(2, *size, 3)).astype(np.float32)
        with torch.no_grad():
            out[f"{name}.{size[0]}x{size[1]}"] = model(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
np.savez_compressed(sys.argv[1], **out)
