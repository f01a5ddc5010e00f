"""One demonstration for each model and data set by sequential halving, without a score matrix; only when asked for.

Inputs:  the samples, <resources>/models/{model}/
Outputs: <results>/halving/{model}/{dataset}.parquet  the pairs that it takes
         <results>/halving/{model}/{dataset}.jsonl    the demonstration to ship, or that a random one will do
         <results>/halving/{model}/{dataset}.yaml     a task of lm-evaluation-harness with it
"""


rule halving:
    input:
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
        model="<resources>/models/{model}/source.json",
        task=lambda wildcards: study.task_files[wildcards.dataset],
    output:
        halving_out=ensure("<results>/halving/{model}/{dataset}.parquet", non_empty=True),
        picks_out=ensure("<results>/halving/{model}/{dataset}.jsonl", non_empty=True),
        task_out="<results>/halving/{model}/{dataset}.yaml",
    log:
        "<logs>/halving/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/halving/{model}-{dataset}.jsonl"
    conda:
        "../../envs/shots.yaml"
    threads: model_threads
    resources:
        gpu=MODEL_GPUS,
        mem_mb=model_memory,
        runtime=240,
    params:
        settings=lambda wildcards: {
            **{
                key: study.pick_settings(wildcards.dataset)[key]
                for key in ("primary", "margin", "task", "study_tables")
            },
            "halving": config["evaluation"].get("halving", 4),
        },
        dtype=lookup("models/{model}/dtype", within=config),
        seed=config["seed"],
        code=code_digest("halving"),
    script:
        "../scripts/halving.py"


rule demonstrations:
    input:
        expand("<results>/halving/{model}/{dataset}.jsonl", model=study.models, dataset=study.datasets),
    localrule: True
