"""Questions as vectors, per layer, which no answer enters. Only with `representations` in the config.

Inputs:  <results>/samples/{dataset}/candidates.parquet and items.parquet, <resources>/models/{model}/
         <results>/samples/{dataset}/pool.parquet  where learning curves want layers, for more of its rows
Outputs: <results>/representations/{model}/{dataset}.parquet  a row per layer, and candidate, item or row of the pool
"""


rule representations:
    input:
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
        pool="<results>/samples/{dataset}/pool.parquet" if settings.learns_from(config)[1] else [],
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
        settings=settings.representations(config),
        dtype=lookup("models/{model}/dtype", within=config),
        code=code_digest("representations"),
    script:
        "../scripts/representations.py"
