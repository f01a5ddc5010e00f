"""Turns activation statistics into one number per candidate, layer, site, pooling and metric.

Inputs:  <results>/activations/{model}/{dataset}/{mask}.parquet, and what that was made from
Outputs: <results>/metrics/{model}/{dataset}/{mask}.parquet
"""


rule metrics:
    input:
        activations=activations_of,
        candidates="<results>/samples/{dataset}/candidates.parquet",
        model="<resources>/models/{model}/source.json",
    output:
        metrics_out=ensure("<results>/metrics/{model}/{dataset}/{mask}.parquet", non_empty=True),
    log:
        "<logs>/metrics/{model}-{dataset}-{mask}.log",
    benchmark:
        "<benchmarks>/metrics/{model}-{dataset}-{mask}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=lookup("metrics", within=config),
        extraction=study.extraction,
        dtype=lookup("models/{model}/dtype", within=config),
        code=[code_digest("metrics"), code_digest("activations")],
    script:
        "../scripts/metrics.py"
