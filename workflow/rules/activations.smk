"""Reads statistics of the activations off every candidate, under one attention mask.

Inputs:  <results>/samples/{dataset}/candidates.parquet, <resources>/models/{model}/
Outputs: <results>/activations/{model}/{dataset}/{mask}.parquet
"""


rule activations:
    input:
        candidates="<results>/samples/{dataset}/candidates.parquet",
        model="<resources>/models/{model}/source.json",
    output:
        ensure("<results>/activations/{model}/{dataset}/{mask}.parquet", non_empty=True),
    log:
        "<logs>/activations/{model}-{dataset}-{mask}.log",
    benchmark:
        "<benchmarks>/activations/{model}-{dataset}-{mask}.jsonl"
    conda:
        "../../envs/models.yaml"
    threads: MODEL_THREADS
    resources:
        gpu=1,
        mem_mb=model_memory,
        runtime=240,
    params:
        settings={key: config["activations"][key] for key in ("sites", "top_k")},
        dtype=lookup("models/{model}/dtype", within=config),
        code=code_digest("activations"),
    script:
        "../scripts/activations.py"
