if [[ $2 == "distroless" ]]; then
  if [[ $1 =~ docker.app ]]; then
    exit 0
  fi
fi
exit 1
