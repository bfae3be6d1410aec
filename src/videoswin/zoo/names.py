"""The names of the zoo's models beside Video Swin's, known without PyTorch; ``registry.CONFIGS`` has what they mean."""

__all__ = ["ZOO_NAMES"]

ZOO_NAMES: tuple[str, ...] = (
    "swin2d_t", "swin2d_s", "swin2d_b", "swin2d_micro", "c3d", "i3d", "s3d", "s3dg", "p3d_63", "p3d_131", "p3d_199",
    "r3d_18", "mc3_18", "r2plus1d_18", "r2plus1d_34", "c2d_r50", "c2d_r50_nl", "i3d_r50", "i3d_r50_8x8", "i3d_r101",
    "i3d_r50_nl", "i3d_r101_nl", "i3d_r50_gc", "i3d_r50_dnl", "slowonly_r50", "slowonly_r50_nl", "slowonly_r50_gc",
    "vit_ti_16", "vit_s_16", "vit_b_16", "vit_l_16", "deit_ti_16", "deit_s_16", "deit_b_16", "deit_ti_16_distilled",
    "deit_s_16_distilled", "deit_b_16_distilled", "vtn_b", "timesformer_b_space", "timesformer_b_joint",
    "timesformer_b_divided", "timesformer_b_local_global", "timesformer_b_axial", "timesformer_hr_divided",
    "timesformer_l_divided", "vivit_b_16x2_model1", "vivit_b_16x2_model2", "vivit_b_16x2_model3",
    "vivit_b_16x2_model4", "vivit_l_16x2_model1", "vivit_l_16x2_model2", "mvit_v1_b", "mvit_v2_s", "mvit_v2_b",
    "mvit_v2_l", "videomae_b", "vjepa2_l", "c3d_micro", "i3d_micro", "s3d_micro", "s3dg_micro", "p3d_micro",
    "r3d_micro", "mc3_micro", "r2plus1d_micro", "c2d_r50_micro", "i3d_r50_micro", "slowonly_r50_micro",
    "i3d_r50_nl_micro", "i3d_r50_gc_micro", "i3d_r50_dnl_micro", "vit_micro", "deit_micro_distilled", "vtn_micro",
    "timesformer_micro_space", "timesformer_micro_joint", "timesformer_micro_divided",
    "timesformer_micro_local_global", "timesformer_micro_axial", "mvit_v1_micro", "mvit_v2_micro",
    "swin3d_micro_joint", "swin3d_micro_factorised", "swin3d_micro_split", "swin3d_micro_no_time_shift",
    "swin3d_micro_no_shift", "vivit_micro_model1", "vivit_micro_model2", "vivit_micro_model3", "vivit_micro_model4",
)  # fmt: skip
