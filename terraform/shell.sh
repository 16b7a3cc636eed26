# What the commands of docs/deploy.md take, for one environment. Source it in this folder, in each new shell, with the name of a file
# in env:
#
#   . ./shell.sh production
#
# It reads the region from own.tfvars, lets Terraform find both files of variables, and defines `start`, `run`, `logs` and `edge`.

sizes=env/${1:?name a file in env, such as: . ./shell.sh production}.tfvars
for file in "$sizes" own.tfvars; do
    [ -r "$file" ] || { echo "there is no $file here" >&2; return 1; }
done
# `small` is a staging too.
environment=$(sed -n 's/^environment *= *"\(.*\)"$/\1/p' "$sizes")
prefix=pagenow-$environment
AWS_REGION=$(sed -n 's/^region *= *"\(.*\)"$/\1/p' own.tfvars)
export AWS_REGION
for command in plan apply destroy import; do
    export "TF_CLI_ARGS_$command=-var-file=$sizes -var-file=own.tfvars"
done

# start TASK [OPTION…]: starts a task by `aws ecs run-task`, and prints its name.
start() {
    task=$1
    shift
    aws ecs run-task --cluster "$prefix" --launch-type FARGATE --task-definition "$prefix-$task" "$@" \
        --network-configuration "$(terraform output -json run_task | jq -r ".network.$task")" \
        --query 'tasks[0].taskArn' --output text
}

# run TASK [OPTION…]: the same, then waits for the end, shows what the task wrote, and fails unless its exit code is 0.
run() {
    started=$(start "$@") || return
    aws ecs wait tasks-stopped --cluster "$prefix" --tasks "$started" || return
    logs "$1" || true
    ended=$(aws ecs describe-tasks --cluster "$prefix" --tasks "$started" \
        --query 'tasks[0].[containers[0].exitCode, stoppedReason]' --output text) || return
    echo "exit code and reason: $ended" >&2
    [ "${ended%%[!0-9]*}" = 0 ]
}

# logs TASK [OPTION…]: what tasks of that name wrote in the last quarter of an hour.
logs() {
    group=/$prefix/$1
    shift
    aws logs tail "$group" --since 15m --format short "$@"
}

# edge COMMAND…: wrangler, for the Worker of this environment. Its token is in WRANGLER_TOKEN: Terraform's cannot deploy a Worker.
edge() {
    (cd .. && CLOUDFLARE_API_TOKEN=${WRANGLER_TOKEN:?set it to the token for wrangler} \
        npx wrangler "$@" --config "wrangler.$environment.json" --env "$environment")
}
