"""Shows what the study will ask before anything runs, without the weights of a model on the hub.

Inputs:  <results>/samples/{dataset}/pool.parquet  of all data sets
         config and tokenizer of the models that count tokens
Outputs: <results>/preview.txt
"""


rule render:
    input:
        pools=expand("<results>/samples/{dataset}/pool.parquet", dataset=study.datasets),
        models=[study.counting_model(dataset) for dataset in study.datasets],
    output:
        text_out="<results>/preview.txt",
    log:
        "<logs>/preview.log",
    benchmark:
        "<benchmarks>/preview.jsonl"
    conda:
        "../../envs/models.yaml"
    params:
        settings=lookup("datasets", within=config),
        code=code_digest("preview"),
    script:
        "../scripts/preview.py"


rule preview:
    input:
        "<results>/preview.txt",
    log:
        "<logs>/preview.txt",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    shell:
        "tee {log} < {input}"
