"""Draws candidates and items: seeded permutations of all usable rows, rendered to text once.

Inputs:  <resources>/data/{dataset}/source.json   rows by split
         <resources>/models/{model}/source.json   the model that counts tokens and whose context limits them;
                                                  of a model on the hub, <resources>/architectures/{model}/source.json
         tasks/{task}.yaml of the configuration   and what it loads; only for tasks of our own
Outputs: <results>/samples/{dataset}/pool.parquet        every usable row of both roles, in order
         <results>/samples/{dataset}/candidates.parquet  its first rows, as many as configured
         <results>/samples/{dataset}/items.parquet
"""


checkpoint pool:
    input:
        data="<resources>/data/{dataset}/source.json",
        model=lambda wildcards: study.counting_model(wildcards.dataset),
        task=lambda wildcards: study.task_files[wildcards.dataset],
    output:
        pool_out=ensure("<results>/samples/{dataset}/pool.parquet", non_empty=True),
    log:
        "<logs>/pool/{dataset}.log",
    benchmark:
        "<benchmarks>/pool/{dataset}.jsonl"
    priority: 2  # what is wrong with rows is told before anything expensive runs
    conda:
        "../../envs/models.yaml"
    params:
        settings=lambda wildcards: study.pool_settings(wildcards.dataset),
        seed=config["seed"],
        code=code_digest("pool"),
    script:
        "../scripts/pool.py"


rule sample:
    input:
        pool="<results>/samples/{dataset}/pool.parquet",
    output:
        sample_out=ensure("<results>/samples/{dataset}/{role}.parquet", non_empty=True),
    log:
        "<logs>/sample/{dataset}-{role}.log",
    benchmark:
        "<benchmarks>/sample/{dataset}-{role}.jsonl"
    priority: 2  # what is wrong with rows is told before anything expensive runs
    conda:
        "../../envs/analysis.yaml"
    params:
        size=lookup("datasets/{dataset}/{role}", within=config),
        opposite=lambda wildcards: study.opposite(wildcards.dataset, wildcards.role),
        code=code_digest("sample"),
    script:
        "../scripts/sample.py"
