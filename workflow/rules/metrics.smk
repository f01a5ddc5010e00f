"""Turns activation statistics into one number per candidate, layer, site, pooling and metric.

Inputs:  <results>/activations/{model}/{dataset}/{mask}.parquet
Outputs: <results>/metrics/{model}/{dataset}/{mask}.parquet
"""


rule metrics:
    input:
        "<results>/activations/{model}/{dataset}/{mask}.parquet",
    output:
        ensure("<results>/metrics/{model}/{dataset}/{mask}.parquet", non_empty=True),
    log:
        "<logs>/metrics/{model}-{dataset}-{mask}.log",
    benchmark:
        "<benchmarks>/metrics/{model}-{dataset}-{mask}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=lookup("metrics", within=config),
        code=code_digest("metrics"),
    script:
        "../scripts/metrics.py"
