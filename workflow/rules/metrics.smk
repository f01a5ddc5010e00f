"""Turns activation statistics into one number per candidate, layer, site, pooling and metric, for all masks in a job.

Inputs:  <results>/activations/{model}/{dataset}/{mask}.parquet, and what these were made from
Outputs: <results>/metrics/{model}/{dataset}/{mask}.parquet

The files of masks for which nothing has changed are kept (`update`), as those of the activations are.
"""


rule metrics:
    input:
        activations=lambda wildcards: [activations_of(wildcards, mask) for mask in study.masks],
        candidates="<results>/samples/{dataset}/candidates.parquet",
        model="<resources>/models/{model}/source.json",
    output:
        metrics_out=update(
            ensure(expand("<results>/metrics/{{model}}/{{dataset}}/{mask}.parquet", mask=study.masks), non_empty=True)
        ),
    log:
        "<logs>/metrics/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/metrics/{model}-{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=lookup("metrics", within=config),
        extraction=study.extraction,
        dtype=lookup("models/{model}/dtype", within=config),
        code=[code_digest("metrics"), code_digest("activations")],
    script:
        "../scripts/metrics.py"
