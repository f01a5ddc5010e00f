"""Reads statistics of the activations off every candidate, under all attention masks with one load of the model.

Inputs:  <results>/samples/{dataset}/candidates.parquet, <resources>/models/{model}/
Outputs: <results>/activations/{model}/{dataset}/{mask}.parquet        a row per candidate, layer and site
         <results>/massive/{model}/{dataset}.parquet                   where massive activations are
         <results>/token_activations/{model}/{dataset}/{mask}.parquet  a row per token, layer and site (store: full)

The activations are kept (`update`) when their job runs again for a new mask: it makes those that are missing or
outdated. Their job goes before others that are ready, such as those of the score matrix: it refuses masks and sites
that were added after the model was tried in `prepare`. Rules that read one of them take it through `activations_of`,
and what shapes it as inputs and params of their own.
"""


rule activations:
    input:
        candidates="<results>/samples/{dataset}/candidates.parquet",
        model="<resources>/models/{model}/source.json",
    output:
        activations_out=update(
            ensure(
                expand("<results>/activations/{{model}}/{{dataset}}/{mask}.parquet", mask=study.masks), non_empty=True
            )
        ),
    log:
        "<logs>/activations/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/activations/{model}-{dataset}.jsonl"
    priority: 1
    conda:
        "../../envs/models.yaml"
    threads: model_threads
    resources:
        gpu=MODEL_GPUS,
        mem_mb=model_memory,
        runtime=240,
    params:
        settings=study.extraction,
        dtype=lookup("models/{model}/dtype", within=config),
        code=code_digest("activations"),
    script:
        "../scripts/activations.py"


rule massive:
    input:
        activations=expand("<results>/activations/{{model}}/{{dataset}}/{mask}.parquet", mask=study.masks),
        candidates="<results>/samples/{dataset}/candidates.parquet",
        model="<resources>/models/{model}/source.json",
    output:
        massive_out=ensure("<results>/massive/{model}/{dataset}.parquet", non_empty=True),
    log:
        "<logs>/massive/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/massive/{model}-{dataset}.jsonl"
    conda:
        "../../envs/models.yaml"
    params:
        code=code_digest("massive"),
    script:
        "../scripts/massive.py"


rule token_activations:
    input:
        candidates="<results>/samples/{dataset}/candidates.parquet",
        model="<resources>/models/{model}/source.json",
    output:
        token_activations_out=ensure("<results>/token_activations/{model}/{dataset}/{mask}.parquet", non_empty=True),
    log:
        "<logs>/token_activations/{model}-{dataset}-{mask}.log",
    benchmark:
        "<benchmarks>/token_activations/{model}-{dataset}-{mask}.jsonl"
    conda:
        "../../envs/models.yaml"
    threads: model_threads
    resources:
        gpu=MODEL_GPUS,
    params:
        settings={"sites": config["activations"]["sites"]},
        dtype=lookup("models/{model}/dtype", within=config),
        code=code_digest("token_activations"),
    script:
        "../scripts/token_activations.py"
