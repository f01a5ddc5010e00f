"""Questions as vectors, per layer, which no answer enters. Only with `representations` in the config.

Inputs:  <results>/samples/{dataset}/candidates.parquet and items.parquet, <resources>/models/{model}/
Outputs: <results>/representations/{model}/{dataset}.parquet  a row per layer, and candidate or item
"""


rule representations:
    input:
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
        model="<resources>/models/{model}/source.json",
    output:
        representations_out=ensure("<results>/representations/{model}/{dataset}.parquet", non_empty=True),
    log:
        "<logs>/representations/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/representations/{model}-{dataset}.jsonl"
    conda:
        "../../envs/models.yaml"
    threads: model_threads
    resources:
        gpu=MODEL_GPUS,
        mem_mb=model_memory,
        runtime=240,
    params:
        settings=lookup("representations", within=config, default={}),
        dtype=lookup("models/{model}/dtype", within=config),
        code=code_digest("representations"),
    script:
        "../scripts/representations.py"
