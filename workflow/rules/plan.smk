"""Says what the study will cost, and what it can show, before anything runs: no weights of a model on the hub.

Inputs:  <results>/samples/{dataset}/pool.parquet  of all data sets
         config and tokenizer of all models
Outputs: <resources>/architectures/{model}/source.json  config and tokenizer of a model on the hub
         <results>/plan.parquet, <results>/plan.txt
         <results>/power.parquet, power.txt, power.png and .svg; of results that are there it takes the noise
"""


rule prepare_architecture:
    output:
        architecture_out="<resources>/architectures/{model}/source.json",
    log:
        "<logs>/prepare/architecture-{model}.log",
    benchmark:
        "<benchmarks>/prepare/architecture-{model}.jsonl"
    conda:
        "../../envs/models.yaml"
    params:
        settings=lambda wildcards: study.model_settings(wildcards.model),
        code=code_digest("prepare_architecture"),
    script:
        "../scripts/prepare_architecture.py"


rule estimate:
    input:
        pools=expand("<results>/samples/{dataset}/pool.parquet", dataset=study.datasets),
        models=[study.architecture(model) for model in study.models],
    output:
        table_out="<results>/plan.parquet",
        text_out="<results>/plan.txt",
    log:
        "<logs>/plan.log",
    benchmark:
        "<benchmarks>/plan.jsonl"
    conda:
        "../../envs/models.yaml"
    threads: CORES or 4  # jobs with a model that share a CPU do together what one does on all of it
    resources:
        gpu=MODEL_GPUS,
    params:
        settings=config,
        code=code_digest("plan"),
    script:
        "../scripts/plan.py"


rule power_table:
    input:
        pools=lambda wildcards: [study.pool(dataset) for dataset in study.whole],
    output:
        table_out="<results>/power.parquet",
        text_out="<results>/power.txt",
        figures_out=["<results>/power.png", "<results>/power.svg"],
    log:
        "<logs>/power_table.log",
    benchmark:
        "<benchmarks>/power.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=config,
        pilots=study.pilots(),
        code=code_digest("power"),
    script:
        "../scripts/power.py"


rule power:
    input:
        "<results>/power.txt",
    log:
        "<logs>/power.txt",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    shell:
        "tee {log} < {input}"


rule plan:
    input:
        "<results>/plan.txt",
    log:
        "<logs>/plan.txt",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    shell:
        "tee {log} < {input}"
