"""Keys of encoders in other libraries, as tables.

A row is a key of the file and a path here: of one array, or of a layer, whose `weight` and `bias` follow the
key. `(a,b)` are layers that the file stores as one array. {b} counts blocks, {s} stages from 0; {n} is s + 1,
{even} 2 s and {odd} 2 s + 1. A row has no effect where the architecture lacks the layer, or an earlier row
has named it. Options restrict a row to architectures that have (`+`) or lack (`-`) `gate` (SwiGLU),
`registers`, `fc_norm` (pooling before the last LayerNorm) or `dense` (timm's MLP of 1x1 convolutions in the
small ConvNeXts). `patches` leaves the class token's position out. An option such as `C11` is the file's
shape, where a letter stands for each axis that is not 1.

Sources: timm 1.0, torchvision 0.28, transformers 5, and the repositories of DINO, DINOv2, DINOv3, CLIP and
ConvNeXt. MAE, MoCo v3 and DeiT use the keys of DINO.
"""

_RESNET = """
conv1 conv
bn1 norm
layer{n}.{b}.conv1 stages.{s}.{b}.conv1
layer{n}.{b}.bn1 stages.{s}.{b}.norm1
layer{n}.{b}.conv2 stages.{s}.{b}.conv2
layer{n}.{b}.bn2 stages.{s}.{b}.norm2
layer{n}.{b}.conv3 stages.{s}.{b}.conv3
layer{n}.{b}.bn3 stages.{s}.{b}.norm3
layer{n}.{b}.downsample.0 stages.{s}.{b}.shortcut.conv
layer{n}.{b}.downsample.1 stages.{s}.{b}.shortcut.norm
"""
# timm's ResNetV2 without pre-activation, which has stems of any width.
_TIMM_RESNETV2 = """
stem.conv conv
stem.norm norm
stages.{s}.blocks.{b}.conv1 stages.{s}.{b}.conv1
stages.{s}.blocks.{b}.norm1 stages.{s}.{b}.norm1
stages.{s}.blocks.{b}.conv2 stages.{s}.{b}.conv2
stages.{s}.blocks.{b}.norm2 stages.{s}.{b}.norm2
stages.{s}.blocks.{b}.conv3 stages.{s}.{b}.conv3
stages.{s}.blocks.{b}.norm3 stages.{s}.{b}.norm3
stages.{s}.blocks.{b}.downsample.conv stages.{s}.{b}.shortcut.conv
stages.{s}.blocks.{b}.downsample.norm stages.{s}.{b}.shortcut.norm
"""
_BLOCK = """
blocks.{b}.norm1 blocks.{b}.norm1
blocks.{b}.attn.proj blocks.{b}.attention.out
blocks.{b}.norm2 blocks.{b}.norm2
norm norm -fc_norm
fc_norm norm +fc_norm
cls_token token
patch_embed.proj patches
"""
_LAYER_SCALE = """
blocks.{b}.ls1.gamma blocks.{b}.scale1
blocks.{b}.ls2.gamma blocks.{b}.scale2
"""
_QKV = "blocks.{b}.attn.qkv blocks.{b}.attention.(query,key,value)"
_TIMM_VIT = f"""{_BLOCK}{_LAYER_SCALE}{_QKV}
pos_embed positions -registers
pos_embed positions +registers patches
reg_token registers
norm_pre pre_norm
blocks.{{b}}.mlp.fc1 blocks.{{b}}.(gate,hidden)
blocks.{{b}}.mlp.fc2 blocks.{{b}}.out
"""
_TIMM_EVA = f"""{_BLOCK}
reg_token registers
blocks.{{b}}.gamma_1 blocks.{{b}}.scale1
blocks.{{b}}.gamma_2 blocks.{{b}}.scale2
blocks.{{b}}.attn.qkv.weight blocks.{{b}}.attention.(query,key,value).kernel
blocks.{{b}}.attn.q_bias blocks.{{b}}.attention.query.bias
blocks.{{b}}.attn.v_bias blocks.{{b}}.attention.value.bias
blocks.{{b}}.mlp.fc1 blocks.{{b}}.hidden -gate
blocks.{{b}}.mlp.fc1_g blocks.{{b}}.gate
blocks.{{b}}.mlp.fc1_x blocks.{{b}}.hidden +gate
blocks.{{b}}.mlp.fc2 blocks.{{b}}.out
"""
_DINOV2 = f"""{_BLOCK}{_LAYER_SCALE}{_QKV}
pos_embed positions
register_tokens registers
blocks.{{b}}.mlp.fc1 blocks.{{b}}.hidden -gate
blocks.{{b}}.mlp.w12 blocks.{{b}}.(gate,hidden) +gate
blocks.{{b}}.mlp.fc2 blocks.{{b}}.out -gate
blocks.{{b}}.mlp.w3 blocks.{{b}}.out +gate
"""
_DINOV3 = f"""{_BLOCK}{_LAYER_SCALE}{_QKV}
storage_tokens registers
blocks.{{b}}.mlp.fc1 blocks.{{b}}.hidden -gate
blocks.{{b}}.mlp.fc2 blocks.{{b}}.out -gate
blocks.{{b}}.mlp.w1 blocks.{{b}}.gate
blocks.{{b}}.mlp.w2 blocks.{{b}}.hidden +gate
blocks.{{b}}.mlp.w3 blocks.{{b}}.out +gate
"""
_CLIP = """
class_embedding token W
positional_embedding positions NW
conv1 patches
ln_pre pre_norm
transformer.resblocks.{b}.ln_1 blocks.{b}.norm1
transformer.resblocks.{b}.attn.in_proj_ blocks.{b}.attention.(query,key,value)
transformer.resblocks.{b}.attn.out_proj blocks.{b}.attention.out
transformer.resblocks.{b}.ln_2 blocks.{b}.norm2
transformer.resblocks.{b}.mlp.c_fc blocks.{b}.hidden
transformer.resblocks.{b}.mlp.c_proj blocks.{b}.out
ln_post norm
"""
_TORCHVISION_VIT = """
class_token token
encoder.pos_embedding positions
conv_proj patches
encoder.layers.encoder_layer_{b}.ln_1 blocks.{b}.norm1
encoder.layers.encoder_layer_{b}.self_attention.in_proj_ blocks.{b}.attention.(query,key,value)
encoder.layers.encoder_layer_{b}.self_attention.out_proj blocks.{b}.attention.out
encoder.layers.encoder_layer_{b}.ln_2 blocks.{b}.norm2
encoder.layers.encoder_layer_{b}.mlp.0 blocks.{b}.hidden
encoder.layers.encoder_layer_{b}.mlp.3 blocks.{b}.out
encoder.ln norm
"""
_HF_EMBEDDINGS = """
embeddings.cls_token token
embeddings.position_embeddings positions
embeddings.patch_embeddings.projection patches
encoder.layer.{b}.attention.attention.query blocks.{b}.attention.query
encoder.layer.{b}.attention.attention.key blocks.{b}.attention.key
encoder.layer.{b}.attention.attention.value blocks.{b}.attention.value
encoder.layer.{b}.attention.output.dense blocks.{b}.attention.out
layernorm norm
"""
_HF_VIT = f"""{_HF_EMBEDDINGS}
encoder.layer.{{b}}.layernorm_before blocks.{{b}}.norm1
encoder.layer.{{b}}.layernorm_after blocks.{{b}}.norm2
encoder.layer.{{b}}.intermediate.dense blocks.{{b}}.hidden
encoder.layer.{{b}}.output.dense blocks.{{b}}.out
"""
_HF_DINOV2 = f"""{_HF_EMBEDDINGS}
embeddings.register_tokens registers
encoder.layer.{{b}}.norm1 blocks.{{b}}.norm1
encoder.layer.{{b}}.layer_scale1.lambda1 blocks.{{b}}.scale1
encoder.layer.{{b}}.norm2 blocks.{{b}}.norm2
encoder.layer.{{b}}.mlp.fc1 blocks.{{b}}.hidden -gate
encoder.layer.{{b}}.mlp.fc2 blocks.{{b}}.out -gate
encoder.layer.{{b}}.mlp.weights_in blocks.{{b}}.(gate,hidden) +gate
encoder.layer.{{b}}.mlp.weights_out blocks.{{b}}.out +gate
encoder.layer.{{b}}.layer_scale2.lambda1 blocks.{{b}}.scale2
"""
_HF_DINOV3 = """
embeddings.cls_token token
embeddings.register_tokens registers
embeddings.patch_embeddings patches
layer.{b}.norm1 blocks.{b}.norm1
layer.{b}.attention.q_proj blocks.{b}.attention.query
layer.{b}.attention.k_proj blocks.{b}.attention.key
layer.{b}.attention.v_proj blocks.{b}.attention.value
layer.{b}.attention.o_proj blocks.{b}.attention.out
layer.{b}.layer_scale1.lambda1 blocks.{b}.scale1
layer.{b}.norm2 blocks.{b}.norm2
layer.{b}.mlp.gate_proj blocks.{b}.gate
layer.{b}.mlp.up_proj blocks.{b}.hidden
layer.{b}.mlp.down_proj blocks.{b}.out
layer.{b}.layer_scale2.lambda1 blocks.{b}.scale2
norm norm
"""
_HF_CLIP = """
embeddings.class_embedding token W
embeddings.position_embedding.weight positions NW
embeddings.patch_embedding patches
pre_layrnorm pre_norm
encoder.layers.{b}.layer_norm1 blocks.{b}.norm1
encoder.layers.{b}.self_attn.q_proj blocks.{b}.attention.query
encoder.layers.{b}.self_attn.k_proj blocks.{b}.attention.key
encoder.layers.{b}.self_attn.v_proj blocks.{b}.attention.value
encoder.layers.{b}.self_attn.out_proj blocks.{b}.attention.out
encoder.layers.{b}.layer_norm2 blocks.{b}.norm2
encoder.layers.{b}.mlp.fc1 blocks.{b}.hidden
encoder.layers.{b}.mlp.fc2 blocks.{b}.out
post_layernorm norm
"""
_TIMM_CONVNEXT = """
stem.0 downsamplings.0.conv
stem.1 downsamplings.0.norm
stages.{s}.downsample.0 downsamplings.{s}.norm
stages.{s}.downsample.1 downsamplings.{s}.conv
stages.{s}.blocks.{b}.gamma stages.{s}.{b}.scale
stages.{s}.blocks.{b}.conv_dw stages.{s}.{b}.depthwise
stages.{s}.blocks.{b}.norm stages.{s}.{b}.norm
stages.{s}.blocks.{b}.mlp.fc1.weight stages.{s}.{b}.hidden.kernel +dense OI11
stages.{s}.blocks.{b}.mlp.fc2.weight stages.{s}.{b}.out.kernel +dense OI11
stages.{s}.blocks.{b}.mlp.fc1 stages.{s}.{b}.hidden
stages.{s}.blocks.{b}.mlp.fc2 stages.{s}.{b}.out
stages.{s}.blocks.{b}.mlp.grn stages.{s}.{b}.grn
head.norm norm
"""
_CONVNEXT = """
downsample_layers.0.0 downsamplings.0.conv
downsample_layers.0.1 downsamplings.0.norm
downsample_layers.{s}.0 downsamplings.{s}.norm
downsample_layers.{s}.1 downsamplings.{s}.conv
stages.{s}.{b}.gamma stages.{s}.{b}.scale
stages.{s}.{b}.dwconv stages.{s}.{b}.depthwise
stages.{s}.{b}.norm stages.{s}.{b}.norm
stages.{s}.{b}.pwconv1 stages.{s}.{b}.hidden
stages.{s}.{b}.pwconv2 stages.{s}.{b}.out
stages.{s}.{b}.grn.gamma stages.{s}.{b}.grn.scale 111C
stages.{s}.{b}.grn.beta stages.{s}.{b}.grn.bias 111C
norm norm
"""
_TORCHVISION_CONVNEXT = """
features.0.0 downsamplings.0.conv
features.0.1 downsamplings.0.norm
features.{even}.0 downsamplings.{s}.norm
features.{even}.1 downsamplings.{s}.conv
features.{odd}.{b}.layer_scale stages.{s}.{b}.scale C11
features.{odd}.{b}.block.0 stages.{s}.{b}.depthwise
features.{odd}.{b}.block.2 stages.{s}.{b}.norm
features.{odd}.{b}.block.3 stages.{s}.{b}.hidden
features.{odd}.{b}.block.5 stages.{s}.{b}.out
classifier.0 norm
"""
_HF_CONVNEXT = """
embeddings.patch_embeddings downsamplings.0.conv
embeddings.layernorm downsamplings.0.norm
encoder.stages.{s}.downsampling_layer.0 downsamplings.{s}.norm
encoder.stages.{s}.downsampling_layer.1 downsamplings.{s}.conv
encoder.stages.{s}.layers.{b}.layer_scale_parameter stages.{s}.{b}.scale
encoder.stages.{s}.layers.{b}.dwconv stages.{s}.{b}.depthwise
encoder.stages.{s}.layers.{b}.layernorm stages.{s}.{b}.norm
encoder.stages.{s}.layers.{b}.pwconv1 stages.{s}.{b}.hidden
encoder.stages.{s}.layers.{b}.pwconv2 stages.{s}.{b}.out
encoder.stages.{s}.layers.{b}.grn stages.{s}.{b}.grn 111C
layernorm norm
"""
_CONVNEXTS = {"timm": _TIMM_CONVNEXT, "original": _CONVNEXT, "huggingface": _HF_CONVNEXT}
# By kind of encoder (`layouts.kind`), then by format.
TABLES = {
    "resnet": {"torchvision": _RESNET, "timm": _TIMM_RESNETV2},
    "vit": {"timm": _TIMM_VIT, "original": _DINOV2, "torchvision": _TORCHVISION_VIT, "huggingface": _HF_VIT},
    "dinov2": {"timm": _TIMM_VIT, "original": _DINOV2, "huggingface": _HF_DINOV2},
    "dinov3": {"timm": _TIMM_EVA, "original": _DINOV3, "huggingface": _HF_DINOV3},
    "clip": {"timm": _TIMM_VIT, "original": _CLIP, "huggingface": _HF_CLIP},
    "convnext": _CONVNEXTS | {"torchvision": _TORCHVISION_CONVNEXT},
    "convnextv2": _CONVNEXTS,
}
# Prefix that a format has before every key.
PREFIXES = {("clip", "original"): "visual.", ("clip", "huggingface"): "vision_model."}
