"""Shows what the study will ask before anything runs, without the weights of any model.

Inputs:  <resources>/data/{dataset}/source.json  rows of all data sets; their pools are made for the preview alone, since
                                                 those of the study count with the models that it runs
         <resources>/tokenizers/{model}/ or architectures/{model}/ of the models that count tokens
         tasks/{task}.yaml of the configuration  and what it loads; only for tasks of our own
Outputs: <results>/preview.txt
"""


rule render:
    input:
        data=expand("<resources>/data/{dataset}/source.json", dataset=study.datasets),
        models=[study.tokenizer(dataset) for dataset in study.datasets],
        tasks=[study.task_files[dataset] for dataset in study.datasets],
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
        seed=config["seed"],
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
