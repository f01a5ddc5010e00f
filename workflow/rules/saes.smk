"""Sparse autoencoders (SAEs): trained or fetched, and the features that they find in candidates and items.

Inputs:  the model, the pools of all data sets without their items, or files of text; the samples
         a folder here or on the hub, for an SAE from elsewhere
Outputs: <resources>/saes/{model}/{sae}/source.json          an SAE from elsewhere
         <results>/saes/{model}/{sae}/                       config, weights, features.parquet, training.parquet
         <results>/sae_features/{model}/{dataset}/{sae}.parquet  active features of every token
         <results>/sae_metrics/{model}/{dataset}/{sae}.parquet   a row per candidate, pooling and metric
None of these rules runs where the config has no `saes`. An SAE with `_random` behind its name is its untrained twin:
one job reads the texts for both.
"""

from iclscope.tables import TWIN

CODES = "<results>/sae_features/{model}/{dataset}/{sae}.parquet"
TWINNED = [sae for sae in study.saes() if f"{sae}{TWIN}" in study.saes()]
ALONE = [sae for sae in study.saes() if not sae.endswith(TWIN) and sae not in TWINNED]


rule fetch_sae:
    input:
        files=lambda wildcards: study.sae_files(wildcards.sae),
    output:
        sae_out="<resources>/saes/{model}/{sae}/source.json",
    log:
        "<logs>/saes/fetch-{model}-{sae}.log",
    benchmark:
        "<benchmarks>/saes/fetch-{model}-{sae}.jsonl"
    conda:
        "../../envs/models.yaml"
    params:
        settings=lambda wildcards: study.sae_source(wildcards.sae),
        code=code_digest("fetch_sae"),
    script:
        "../scripts/fetch_sae.py"


rule train_sae:
    input:
        model="<resources>/models/{model}/source.json",
        pools=lambda wildcards: study.sae_pools(wildcards.sae, "pool"),
        item_rows=lambda wildcards: study.sae_pools(wildcards.sae, "items"),
        texts=lambda wildcards: study.sae_texts(wildcards.sae),
        dictionary=lambda wildcards: study.fetched_sae(wildcards.model, wildcards.sae),
    output:
        sae_out=["<results>/saes/{model}/{sae}/cfg.json", "<results>/saes/{model}/{sae}/sae_weights.safetensors"],
        features_out=ensure("<results>/saes/{model}/{sae}/features.parquet", non_empty=True),
        training_out=ensure("<results>/saes/{model}/{sae}/training.parquet", non_empty=True),
    log:
        "<logs>/saes/train-{model}-{sae}.log",
    benchmark:
        "<benchmarks>/saes/train-{model}-{sae}.jsonl"
    priority: 1  # the longest job, which others wait for
    conda:
        "../../envs/models.yaml"
    threads: model_threads
    resources:
        gpu=MODEL_GPUS,
        mem_mb=model_memory,
        runtime=240,
    params:
        settings=lambda wildcards: study.sae_settings(wildcards.sae),
        dtype=lookup("models/{model}/dtype", within=config),
        seed=config["seed"],
        code=code_digest("train_sae"),
    script:
        "../scripts/train_sae.py"


rule sae_features:
    input:
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
        model="<resources>/models/{model}/source.json",
        dictionary=lambda wildcards: study.sae_part(wildcards.model, wildcards.sae, "cfg.json"),
        weights=lambda wildcards: study.sae_part(wildcards.model, wildcards.sae, "sae_weights.safetensors"),
    output:
        sae_features_out=ensure([CODES], non_empty=True),
    log:
        "<logs>/sae_features/{model}-{dataset}-{sae}.log",
    benchmark:
        "<benchmarks>/sae_features/{model}-{dataset}-{sae}.jsonl"
    wildcard_constraints:
        sae="|".join(map(re.escape, ALONE)) or "(?!)",
    conda:
        "../../envs/models.yaml"
    threads: model_threads
    resources:
        gpu=MODEL_GPUS,
        mem_mb=model_memory,
        runtime=240,
    params:
        settings=lambda wildcards: {"name": wildcards.sae},
        dtype=lookup("models/{model}/dtype", within=config),
        seed=config["seed"],
        code=code_digest("sae_features"),
    script:
        "../scripts/sae_features.py"


use rule sae_features as sae_features_of_both with:
    output:
        sae_features_out=ensure([CODES, CODES.replace("{sae}", f"{{sae}}{TWIN}")], non_empty=True),
    wildcard_constraints:
        sae="|".join(map(re.escape, TWINNED)) or "(?!)",


rule sae_metrics:
    input:
        sae_features="<results>/sae_features/{model}/{dataset}/{sae}.parquet",
        dictionary=lambda wildcards: study.sae_part(wildcards.model, wildcards.sae, "features.parquet"),
    output:
        sae_metrics_out=ensure("<results>/sae_metrics/{model}/{dataset}/{sae}.parquet", non_empty=True),
    log:
        "<logs>/sae_metrics/{model}-{dataset}-{sae}.log",
    benchmark:
        "<benchmarks>/sae_metrics/{model}-{dataset}-{sae}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=lambda wildcards: {"name": wildcards.sae, "poolings": config["metrics"]["poolings"]},
        code=code_digest("sae_metrics"),
    script:
        "../scripts/sae_metrics.py"
