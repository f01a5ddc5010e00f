"""Which rows to label: learning curves of query strategies on frozen vectors. Only with `learning` in the config.

Inputs:  the pool and the samples; the sentence encoder, <resources>/models/{model}/, or both
Outputs: <results>/encodings/{dataset}.parquet                     rows that may be labelled as vectors of the encoder
         <results>/pool_representations/{model}/{dataset}.parquet  the same as vectors of the model's layers
         <results>/learning/{model}/{dataset}.parquet  a row per split, representation, start, strategy and step
         <results>/learning_summary/{model}/{dataset}.parquet      a row per representation, start and strategy
         <results>/learning_claims/{model}/{dataset}.parquet       what others found, tested on this data set
"""

ENCODINGS = "<results>/encodings/{dataset}.parquet"
POOL_REPRESENTATIONS = "<results>/pool_representations/{model}/{dataset}.parquet"


rule encode_pool:
    input:
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
        pool="<results>/samples/{dataset}/pool.parquet",
        encoder=study.encoder_files,
    output:
        encodings_out=ensure(ENCODINGS, non_empty=True),
    log:
        "<logs>/encodings/{dataset}.log",
    benchmark:
        "<benchmarks>/encodings/{dataset}.jsonl"
    conda:
        "../../envs/models.yaml"
    threads: model_threads
    resources:
        gpu=MODEL_GPUS,
    params:
        settings=study.encoding_settings,
        code=code_digest("encode_pool"),
    script:
        "../scripts/encode_pool.py"


use rule representations as represent_pool with:
    input:
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
        pool="<results>/samples/{dataset}/pool.parquet",
        model="<resources>/models/{model}/source.json",
    output:
        representations_out=ensure(POOL_REPRESENTATIONS, non_empty=True),
    log:
        "<logs>/pool_representations/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/pool_representations/{model}-{dataset}.jsonl"
    params:
        settings=settings.pool_representations(config),
        dtype=lookup("models/{model}/dtype", within=config),
        code=code_digest("representations"),


rule learning:
    input:
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
        pool="<results>/samples/{dataset}/pool.parquet",
        encodings=lambda wildcards: ENCODINGS if settings.wanted_of(config, wildcards.dataset)[0] else [],
        representations=lambda wildcards: (
            POOL_REPRESENTATIONS if settings.wanted_of(config, wildcards.dataset)[1] else []
        ),
    output:
        learning_out=ensure("<results>/learning/{model}/{dataset}.parquet", non_empty=True),
    log:
        "<logs>/learning/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/learning/{model}-{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=lookup("learning", within=config, default={}),
        seed=config["seed"],
        code=code_digest("learning"),
    script:
        "../scripts/learning.py"


rule learning_summary:
    input:
        learning="<results>/learning/{model}/{dataset}.parquet",
    output:
        summary_out=ensure("<results>/learning_summary/{model}/{dataset}.parquet", non_empty=True),
        claims_out=ensure("<results>/learning_claims/{model}/{dataset}.parquet", non_empty=True),
    log:
        "<logs>/learning_summary/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/learning_summary/{model}-{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings={"margin": config["verdict"]["margin"]["share_of_items"]},
        seed=config["seed"],
        code=code_digest("learning_summary"),
    script:
        "../scripts/learning_summary.py"
